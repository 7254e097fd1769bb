"""Lines of result files: their positions in the file, and their content as structs."""
