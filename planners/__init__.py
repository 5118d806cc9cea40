"""Policy: one file is one planner, its name is what you type after --planner. Imported as autoseg.planners."""
