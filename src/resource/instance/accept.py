"""Whether the vLLM of this environment would take the arguments of `vllm serve`.

It goes as far as a start goes before it loads anything: no weights, and nothing onto a GPU. Ends
with 0 where they are taken; with 65 (EX_DATAERR of sysexits.h) and `refused: WHY` where they are
refused; and otherwise where it cannot be told.
"""

import sys


# As much of a reason as people read; some list every name that there is.
LONGEST = 400


def refuse(why):
    why = " ".join(str(why).split())
    print("refused:", why if len(why) <= LONGEST else why[:LONGEST] + " ...")
    sys.exit(65)


def words(error):
    """What an error says, without what pydantic and KeyError put around it."""
    if isinstance(error, KeyError) and error.args:
        return error.args[0]
    if not hasattr(error, "errors"):
        return error
    told = []
    for one in error.errors():
        where = ".".join(str(part) for part in one["loc"])
        what = one["msg"].removeprefix("Value error, ")
        told.append(f"{where}: {what}" if where else what)
    return "; ".join(dict.fromkeys(told))


def check_parsers(args):
    """The names of parsers are looked up by the server itself; those of plugins are not known here."""
    if args.tool_parser_plugin or args.reasoning_parser_plugin:
        return
    try:
        from vllm.entrypoints.openai.api_server import validate_api_server_args
    except ImportError:
        return
    validate_api_server_args(args)


def main():
    # These moved between versions: where one is missing this says nothing of the arguments.
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.openai.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.usage.usage_lib import UsageContext
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    parser.error = refuse
    args = parser.parse_args(sys.argv[1:])
    args.model = args.model_tag or args.model
    try:
        validate_parsed_serve_args(args)
        config = AsyncEngineArgs.from_cli_args(args)
        config.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
        check_parsers(args)
    except (ValueError, TypeError, KeyError, NotImplementedError, AssertionError) as error:
        refuse(words(error) or repr(error))


main()
