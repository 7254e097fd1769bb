"""Input rows as request lines, and request lines as shards with their sidecars."""
