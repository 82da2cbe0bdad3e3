"""What a transfer method is, without any Keras: values, and the table of their names."""
