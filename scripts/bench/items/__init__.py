"""What is measured, a module an item: `measure(mode)` runs it and returns its tables."""
