echo -9 > /proc/self/autogroup
export PATH=/tmp/ci13/.venv/bin:$PATH PYTHONPATH=$PWD/workflow/scripts
date; /tmp/ci13/.venv/bin/python -m snakemake --cores 2 --configfile config/demo.yaml x.yaml; date
