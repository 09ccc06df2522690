"""What a folder of results says, held against its files' hashes and computed again."""
