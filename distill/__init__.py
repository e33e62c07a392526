"""How a teacher teaches: tasks, teachers and their features, objectives, matching, initialization, recipes, trainer."""
