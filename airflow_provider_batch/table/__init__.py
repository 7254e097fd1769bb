"""The table on storage: schema, parts, partitions, manifest and file names."""
