"""Telling people: the words of a message, the way it goes, and the step that empties the outbox."""
