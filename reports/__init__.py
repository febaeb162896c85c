"""Reports: turn records into documents, and predictions into pictures."""
