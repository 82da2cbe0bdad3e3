"""SavedModels that answer: what they take and give, loaded, and served."""
