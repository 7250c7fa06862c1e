"""What a user may always ask for: all that is stored about them, and its end."""
