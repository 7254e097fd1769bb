"""Result lines → Arrow columns → Parquet: each input row becomes exactly one row of the table."""
