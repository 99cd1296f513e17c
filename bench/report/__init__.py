"""`bench report`: records → one HTML file that needs nothing else, for people, screens, readers and paper."""
