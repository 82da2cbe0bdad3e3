"""The application: flags -> data -> model -> fit -> files."""
