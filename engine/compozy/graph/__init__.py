"""Lay out small directed graphs and write them as Mermaid, DOT and SVG, independent of what the nodes represent."""
