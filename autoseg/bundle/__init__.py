"""A model that travels: one folder or zip with JSON and safetensors in it and nothing that could run.

bundle/
    model.json                          Manifest: what is averaged, corrected, claimed; checksums of the others
    plan.json                           the plan with every configuration that has weights here
    <configuration>/fold_0.safetensors  one network

The names of the files follow from the manifest. A bundle that holds any other file is refused.
"""
