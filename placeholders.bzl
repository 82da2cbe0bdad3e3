"""Placeholders for what Bazel 4 downloads for C++, Java and coverage, whatever it builds.

Its own files load these repositories; nothing here is C++ or Java, so a few native rules are all
that they must hold, and a build needs no network. `bazel coverage` does not work with them.
"""

def _placeholder_impl(repository_ctx):
    for path, content in repository_ctx.attr.files.items():
        repository_ctx.file(path, content)

_placeholder = repository_rule(
    implementation = _placeholder_impl,
    attrs = {"files": attr.string_dict(doc = "Path to content.")},
)

def _native_rules(*names):
    return "\n".join(["{0} = native.{0}".format(name) for name in names])

def placeholders():
    """Declares the repositories rules_cc, rules_java and remote_coverage_tools."""
    _placeholder(
        name = "rules_cc",
        files = {
            "cc/BUILD": "",
            "cc/defs.bzl": _native_rules(
                "cc_binary",
                "cc_library",
                "cc_test",
                "cc_toolchain",
                "cc_toolchain_suite",
            ),
        },
    )
    _placeholder(
        name = "rules_java",
        files = {
            "java/BUILD": "",
            "java/defs.bzl": _native_rules(
                "java_binary",
                "java_import",
                "java_library",
                "java_runtime",
                "java_toolchain",
            ),
        },
    )
    _placeholder(
        name = "remote_coverage_tools",
        files = {
            "BUILD": """
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
filegroup(name = "lcov_merger", visibility = ["//visibility:public"])
""",
        },
    )
