//! What a service takes of JSON Schema, as data.

/// What a service takes of JSON Schema.
///
/// ```
/// use phi_provider::structured::{Keywords, Objects, SchemaRule};
///
/// const LAX: SchemaRule = SchemaRule {
///     keywords: Keywords::AllBut(&["uniqueItems"]),
///     objects: Objects::Closed,
///     ..SchemaRule::ANY
/// };
/// # assert_ne!(LAX, SchemaRule::ANY);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaRule {
    /// The keywords that stay. One that bounds a value and goes is told in the description instead.
    ///
    /// Where the service knows a near relative, a keyword becomes that: `oneOf` becomes `anyOf`,
    /// `const` an `enum` of one, and the parts of an `allOf` join their parent.
    pub keywords: Keywords,
    /// The values of `format` that stay.
    pub formats: Keywords,
    /// What becomes of objects.
    pub objects: Objects,
    /// What becomes of `$ref`.
    pub references: References,
    /// How a value that may be null is written.
    pub nulls: Nulls,
}

/// Which of some words stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keywords {
    /// These alone.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

/// What becomes of the objects of a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Objects {
    /// They stay as they are.
    #[default]
    AsGiven,
    /// They take no property that the schema does not name: `additionalProperties` is false. An
    /// object for arbitrary names stays open.
    Closed,
    /// They are closed, and every property is required; one that was optional may be null.
    Strict,
}

/// What becomes of references inside of a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum References {
    /// They stay where they stand alone; one with keywords beside it is replaced by its target.
    #[default]
    Kept,
    /// What they name stands in their place. A schema that contains itself ends after some levels.
    Inlined,
}

/// How a schema says that a value may be null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nulls {
    /// As JSON Schema does, by the type `null`.
    #[default]
    Typed,
    /// As OpenAPI 3.0 does, by `nullable`; several types become an `anyOf`.
    Nullable,
}

impl Keywords {
    /// Says whether a word stays.
    #[must_use]
    pub fn keeps(self, word: &str) -> bool {
        match self {
            Self::Only(words) => words.contains(&word),
            Self::AllBut(words) => !words.contains(&word),
        }
    }
}

impl SchemaRule {
    /// Takes every schema as it is, as services that build a grammar of it do.
    pub const ANY: Self = Self {
        keywords: Keywords::AllBut(&[]),
        formats: Keywords::AllBut(&[]),
        objects: Objects::AsGiven,
        references: References::Kept,
        nulls: Nulls::Typed,
    };

    /// The strict mode of OpenAI, for answers and for tools, as many services copied it: every
    /// property required, objects closed, no composition but `anyOf`.
    pub const STRICT: Self = Self {
        keywords: Keywords::Only(&[
            "type",
            "description",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "const",
            "anyOf",
            "$ref",
            "$defs",
            "definitions",
            "pattern",
            "format",
            "multipleOf",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "minItems",
            "maxItems",
        ]),
        formats: Keywords::Only(&[
            "date-time",
            "time",
            "date",
            "duration",
            "email",
            "hostname",
            "ipv4",
            "ipv6",
            "uuid",
        ]),
        objects: Objects::Strict,
        ..Self::ANY
    };

    /// The structured output of Anthropic: closed objects, optional properties allowed, no bounds of
    /// numbers, texts and arrays, and no schema that contains itself.
    pub const CLOSED: Self = Self {
        keywords: Keywords::Only(&[
            "type",
            "title",
            "description",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "enum",
            "const",
            "anyOf",
            "default",
            "format",
        ]),
        formats: Keywords::Only(&[
            "date-time",
            "time",
            "date",
            "duration",
            "email",
            "hostname",
            "uri",
            "ipv4",
            "ipv6",
            "uuid",
        ]),
        objects: Objects::Closed,
        references: References::Inlined,
        ..Self::ANY
    };

    /// The part of OpenAPI 3.0 that Gemini's `Schema` knows.
    pub const OPEN_API: Self = Self {
        keywords: Keywords::Only(&[
            "type",
            "title",
            "description",
            "format",
            "nullable",
            "enum",
            "properties",
            "propertyOrdering",
            "required",
            "items",
            "minItems",
            "maxItems",
            "minProperties",
            "maxProperties",
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "pattern",
            "example",
            "default",
            "anyOf",
        ]),
        formats: Keywords::Only(&["enum", "date-time", "int32", "int64", "float", "double"]),
        objects: Objects::AsGiven,
        references: References::Inlined,
        nulls: Nulls::Nullable,
    };
}
