"""What each change that made the engine faster brought, and what it did to its answers."""
