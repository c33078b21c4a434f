"""Histories of agents that use tools, made up; what is valid in them; and what a compression keeps of them."""
