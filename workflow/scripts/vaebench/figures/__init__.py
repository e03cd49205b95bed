"""Every figure of a study, drawn from its tables and stored samples."""
