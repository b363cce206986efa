"""commands.py NAME: prints the names of the commands that an installed package brings, as JSON."""

import json
import sys
from importlib.metadata import distribution

scripts = distribution(sys.argv[1]).entry_points.select(group="console_scripts")
print(json.dumps(sorted(script.name for script in scripts)))
