"""What idalloc is measured against."""
