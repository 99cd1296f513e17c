"""`bench report`: one self-contained HTML file with the results of runs."""
