"""The longer texts of `attnvgg --help`."""

ABOUT = """\
Asks an attnvgg server, or a Triton that has its models, what pictures show and
where the network looked."""
EXIT_CODES = """\
exit codes:
  0    all is well
  1    some picture could not be used, or something not be written
  2    the command line is wrong, or FILE.part is not this command's
  3    the server cannot be reached, is not ready, too busy, or too slow
  4    the server refused (unknown model, API key, ...), or its answer makes no
       sense, or another model answers than before
  130  interrupted
"""
ENVIRONMENT = """\
environment:
  ATTNVGG_URL      where the server is without --url (http://127.0.0.1:3000)
  ATTNVGG_API_KEY  the API key; there is no flag for it, because others can see
                   command lines
"""
PREDICT = (
    "classify pictures, one line each",
    """\
  attnvgg predict cat.jpg --attention --overlay cat.png
  attnvgg predict photos/ --out results.csv
  attnvgg predict photos/ --out maps.jsonl --attention --overlay overlays/
  attnvgg predict - --json < cat.jpg

Folders are searched for .jpg, .jpeg, .png and .webp, folders in them, too; what
is hidden or ends in .overlay.png is left out. --out writes FILE.part, line by
line, and renames it at the end. If a run was cut short, the same command goes
on where it was: pictures in FILE.part, bad ones too, are not asked about again.
""",
)
MODELS = (
    "list the server's models",
    """\
  attnvgg models
  attnvgg models --json --url grpc://127.0.0.1:8001
""",
)
HEALTH = (
    "ask whether the server is ready",
    """\
  attnvgg health
  attnvgg health --wait 60 --url https://pictures.example.org
""",
)
BENCH = (
    "measure how fast the server answers under load",
    """\
  attnvgg bench --rate 20 photo.jpg
  attnvgg bench --concurrency 8 --duration 30 --json
""",
)
