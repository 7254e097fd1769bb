"""Reading tables: files, queries and Python values as chunks of rows."""
