"""Where examples come from: a reader for each format, and the table of tasks."""
