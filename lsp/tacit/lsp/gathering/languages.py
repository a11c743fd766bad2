"""What the grammars call a definition in each language, and which files are of which. Pure data.

A pattern's `@name` names the definition `@def`. Sources: each grammar's own `tags.scm` and node types.
"""

from typing import Final

GRAMMARS: Final[dict[str, str]] = {
    "python": "python",
    "java": "java",
    "c": "cpp",
    "cpp": "cpp",
    "cuda-cpp": "cpp",
    "javascript": "tsx",
    "javascriptreact": "tsx",
    "typescript": "typescript",
    "typescriptreact": "tsx",
    "go": "go",
    "rust": "rust",
}
"""LSP language id → grammar."""

EXTENSIONS: Final[dict[str, str]] = {
    "py": "python",
    "pyi": "python",
    "java": "java",
    **dict.fromkeys(("c", "h"), "c"),
    **dict.fromkeys(("cc", "cpp", "cxx", "hh", "hpp", "hxx"), "cpp"),
    **dict.fromkeys(("js", "mjs", "cjs"), "javascript"),
    "jsx": "javascriptreact",
    **dict.fromkeys(("ts", "mts", "cts"), "typescript"),
    "tsx": "typescriptreact",
    "go": "go",
    "rs": "rust",
}
"""A file's extension → LSP language id."""

OTHER_TEXT: Final = frozenset("css html json lua md php proto rb rst scala sh sql swift toml txt vue yaml yml kt cs".split())
"""Extensions of files that are read but not parsed."""

FAMILIES: Final = (
    frozenset(("c", "cpp", "cuda-cpp")),
    frozenset(("javascript", "javascriptreact", "typescript", "typescriptreact")),
)
"""Languages that use one another's definitions."""

_JS: Final = """
(function_declaration name: (identifier) @name) @def
(generator_function_declaration name: (identifier) @name) @def
(class_declaration name: (type_identifier) @name) @def
(abstract_class_declaration name: (type_identifier) @name) @def
(method_definition name: (property_identifier) @name) @def
(method_signature name: (property_identifier) @name) @def
(interface_declaration name: (type_identifier) @name) @def
(type_alias_declaration name: (type_identifier) @name) @def
(enum_declaration name: (identifier) @name) @def
(program (lexical_declaration (variable_declarator name: (identifier) @name)) @def)
(program (export_statement (lexical_declaration (variable_declarator name: (identifier) @name)) @def))
"""

DEFINITIONS: Final[dict[str, str]] = {
    "python": """
(function_definition name: (identifier) @name) @def
(class_definition name: (identifier) @name) @def
(module (expression_statement (assignment left: (identifier) @name)) @def)
""",
    "java": """
(class_declaration name: (identifier) @name) @def
(interface_declaration name: (identifier) @name) @def
(enum_declaration name: (identifier) @name) @def
(record_declaration name: (identifier) @name) @def
(method_declaration name: (identifier) @name) @def
(constructor_declaration name: (identifier) @name) @def
""",
    "cpp": """
(function_definition declarator: (function_declarator declarator: (_) @name)) @def
(function_definition declarator: (_ declarator: (function_declarator declarator: (_) @name))) @def
(declaration declarator: (function_declarator declarator: (_) @name)) @def
(field_declaration declarator: (function_declarator declarator: (_) @name)) @def
(class_specifier name: (type_identifier) @name body: (_)) @def
(struct_specifier name: (type_identifier) @name body: (_)) @def
(enum_specifier name: (type_identifier) @name body: (_)) @def
(type_definition declarator: (type_identifier) @name) @def
(preproc_function_def name: (identifier) @name) @def
""",
    "typescript": _JS,
    "tsx": _JS,
    "go": """
(function_declaration name: (identifier) @name) @def
(method_declaration name: (field_identifier) @name) @def
(type_declaration (type_spec name: (type_identifier) @name)) @def
(source_file (const_declaration (const_spec name: (identifier) @name)) @def)
(source_file (var_declaration (var_spec name: (identifier) @name)) @def)
""",
    "rust": """
(function_item name: (identifier) @name) @def
(function_signature_item name: (identifier) @name) @def
(struct_item name: (type_identifier) @name) @def
(enum_item name: (type_identifier) @name) @def
(trait_item name: (type_identifier) @name) @def
(type_item name: (type_identifier) @name) @def
(const_item name: (identifier) @name) @def
(static_item name: (identifier) @name) @def
(macro_definition name: (identifier) @name) @def
""",
}

CONTAINERS: Final = frozenset(
    """class_definition class_declaration abstract_class_declaration interface_declaration enum_declaration record_declaration
    class_specifier struct_specifier enum_specifier type_declaration struct_item enum_item trait_item""".split()
)
"""Definitions whose members are worth naming."""


def language_of(path: str) -> str:
    """LSP language id by the file's extension; empty: none of those that are parsed."""
    return EXTENSIONS.get(path.rpartition(".")[2].lower(), "") if "." in path else ""


def related(one: str, other: str) -> bool:
    """Whether one language's code uses the other's definitions."""
    return one == other or any(one in family and other in family for family in FAMILIES)
