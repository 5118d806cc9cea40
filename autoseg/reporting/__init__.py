"""One page that explains a dataset, its plan and its trainings: HTML with everything inside. A section is a file."""
