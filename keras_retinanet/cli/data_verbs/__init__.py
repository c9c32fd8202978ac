"""retinanet data: its verbs, what they show and the tables that they print."""
