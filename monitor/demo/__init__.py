"""The demo: simulated pumps, an embedded broker and a live view in the terminal."""
