"""What a file holds, whatever its program: JSON values, fields, contents, judgements."""
