"""Many runs together: which there are, what was chosen from them, what they show."""
