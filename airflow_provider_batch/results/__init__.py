"""Result lines to typed Arrow to Parquet: one row for each row that went in, whatever came back."""
