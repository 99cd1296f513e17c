# The start of the scripts in this folder: it sets $python, and lets it import this project.
set -u
top=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
export PYTHONPATH=$top${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
python=${PYTHON:-$(command -v python3 || command -v python)}
needed='import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, ("torch", "PIL", "h5py", "click"))))'
if ! "$python" -c "$needed"; then
  echo "error: $python does not have the packages of this project; activate its virtual environment, or set PYTHON" >&2
  exit 2
fi
