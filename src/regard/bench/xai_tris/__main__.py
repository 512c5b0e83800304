"""The command line of the benchmark."""

from regard.bench.xai_tris.run import main

main()
