"""Lay out small directed graphs and write them as Mermaid, DOT and SVG, whatever their nodes stand for."""
