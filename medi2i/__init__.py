"""medi2i."""
