"""What a node of a grammar means for the names in it: whether they are declared there, used, or neither. Pure data.

Where a grammar leaves open what a name is, it counts as declared: nothing is refused that might be right.
"""

from dataclasses import dataclass
from typing import Final, Literal

Mode = Literal["declare", "use", "skip", "import"]
"""import: as declare, but for the paths that lead to the name."""


@dataclass(frozen=True, slots=True)
class Rules:
    names: frozenset[str]
    """Types of the leaves that are names."""
    attributes: frozenset[str]
    """Types of the leaves that name something of something else: only a checker knows whether it is there."""
    modes: dict[str, Mode]
    """`TYPE` or `TYPE.FIELD`: from here on down names are so."""


def _modes(declare: str, use: str, skip: str) -> dict[str, Mode]:
    words: tuple[tuple[str, Mode], ...] = ((declare, "declare"), (use, "use"), (skip, "skip"))
    return {name: mode for names, mode in words for name in names.split()}


_SCRIPT_DECLARES: Final = (
    "variable_declarator.name function_declaration.name generator_function_declaration.name function_expression.name class.name "
    "class_declaration.name abstract_class_declaration.name interface_declaration.name type_alias_declaration.name "
    "enum_declaration.name internal_module.name module.name function_signature.name import_clause import_require_clause "
    "import_alias.name required_parameter.pattern optional_parameter.pattern formal_parameters arrow_function.parameter "
    "catch_clause.parameter for_in_statement.left type_parameter.name index_signature.name infer_type mapped_type_clause.name"
)
_SCRIPT_USES: Final = (
    "assignment_pattern.right object_assignment_pattern.right computed_property_name required_parameter.value "
    "optional_parameter.value required_parameter.type optional_parameter.type decorator type_parameter.constraint "
    "type_parameter.value"
)
_SCRIPT_SKIPS: Final = "export_specifier.alias nested_type_identifier.name namespace_export import_attribute"
_SCRIPT_NAMES: Final = frozenset(
    "identifier type_identifier shorthand_property_identifier shorthand_property_identifier_pattern".split()
)
_SCRIPT_ATTRIBUTES: Final = frozenset(("property_identifier", "private_property_identifier"))

JAVASCRIPT: Final = Rules(
    _SCRIPT_NAMES,
    _SCRIPT_ATTRIBUTES,
    # Outside of strict mode an assignment makes a global.
    _modes(
        f"{_SCRIPT_DECLARES} assignment_expression.left", f"{_SCRIPT_USES} member_expression subscript_expression", _SCRIPT_SKIPS
    ),
)
TYPESCRIPT: Final = Rules(_SCRIPT_NAMES, _SCRIPT_ATTRIBUTES, _modes(_SCRIPT_DECLARES, _SCRIPT_USES, _SCRIPT_SKIPS))
GO: Final = Rules(
    frozenset(("identifier", "type_identifier", "package_identifier")),
    frozenset(("field_identifier",)),
    _modes(
        "const_spec.name var_spec.name type_spec.name type_alias.name function_declaration.name parameter_declaration.name "
        "variadic_parameter_declaration.name type_parameter_declaration.name short_var_declaration.left range_clause.left "
        "type_switch_statement.alias receive_statement.left import_spec.name",
        "",
        "package_clause keyed_element.key qualified_type.name",
    ),
)
RUST: Final = Rules(
    frozenset(("identifier", "type_identifier", "shorthand_field_identifier")),
    frozenset(("field_identifier",)),
    _modes(
        "let_declaration.pattern let_condition.pattern parameter.pattern closure_parameters match_arm.pattern "
        "for_expression.pattern function_item.name function_signature_item.name struct_item.name enum_item.name union_item.name "
        "enum_variant.name "
        "type_item.name trait_item.name mod_item.name const_item.name static_item.name macro_definition.name type_parameter.name "
        "const_parameter.name associated_type.name extern_crate_declaration "
        # Nobody knows what a macro makes of its words.
        "token_tree",
        "match_pattern.condition tuple_struct_pattern.type struct_pattern.type scoped_identifier.path parameter.type",
        "scoped_identifier.name scoped_type_identifier.name attribute_item inner_attribute_item lifetime label "
        "visibility_modifier type_binding.name field_pattern.name",
    )
    | {"use_declaration": "import"},
)

RULES: Final = {
    "javascript": JAVASCRIPT,
    "javascriptreact": JAVASCRIPT,
    "typescript": TYPESCRIPT,
    "typescriptreact": TYPESCRIPT,
    "go": GO,
    "rust": RUST,
}
"""LSP language id: how its names are read."""
