"""The stories: each reads top to bottom like a method section."""
