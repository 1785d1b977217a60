"""Many processes that allocate ids, and the survey of what they got."""
