"""Reading files of rows: Parquet, CSV and JSONL, in folders and partitions."""
