//! The functions that expressions may call: names, numbers of arguments, and what they give.

use crate::lang::types::Kind;

/// One function.
#[derive(Clone, Copy, Debug)]
pub(in crate::lang) struct Signature {
    /// Its name, `math.ceil` for those in a namespace.
    pub name: &'static str,
    /// How it is called.
    pub style: Style,
    /// Fewest and most arguments, the receiver not counted.
    pub arguments: (usize, usize),
    /// What it gives.
    pub gives: Gives,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Style {
    /// `size(x)`, `math.ceil(x)`.
    Global,
    /// `x.size()` on a receiver of this kind.
    Member(On),
}

/// What a member function is called on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum On {
    /// Text.
    Text,
    /// A list.
    List,
    /// A list, map or text.
    Sized,
    /// Text or a list.
    TextOrList,
    /// Anything else: times, optionals.
    Other,
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Gives {
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Ints,
    /// The list it was called on, or one like it.
    Receiver,
    /// Something that only other functions can use, or that depends on the arguments.
    Unknown,
}

impl Gives {
    /// The type, when it is known.
    pub fn kind(self) -> Option<Kind> {
        let list = |kind| Kind::List(Box::new(crate::lang::types::Type::of(kind)));
        Some(match self {
            Self::Bool => Kind::Bool,
            Self::Int => Kind::Int,
            Self::Float => Kind::Float,
            Self::Text => Kind::String,
            Self::Texts => list(Kind::String),
            Self::Ints => list(Kind::Int),
            Self::Receiver | Self::Unknown => return None,
        })
    }
}

const fn global(name: &'static str, arguments: (usize, usize), gives: Gives) -> Signature {
    Signature { name, style: Style::Global, arguments, gives }
}

const fn member(name: &'static str, on: On, arguments: (usize, usize), gives: Gives) -> Signature {
    Signature { name, style: Style::Member(on), arguments, gives }
}

/// Every function of the standard library and of the extensions strings, lists, math and encoders. Macros (`has`, `map`, `filter`, `all`, `exists`,
/// `exists_one`, `existsOne`, `sortBy`, `optMap`, `optFlatMap`, `math.greatest`, `math.least`) are expanded before anybody looks here.
pub(in crate::lang) const ALL: &[Signature] = &[
    global("size", (1, 1), Gives::Int),
    global("type", (1, 1), Gives::Unknown),
    global("dyn", (1, 1), Gives::Unknown),
    global("int", (1, 1), Gives::Int),
    global("uint", (1, 1), Gives::Unknown),
    global("double", (1, 1), Gives::Float),
    global("string", (1, 1), Gives::Text),
    global("bool", (1, 1), Gives::Bool),
    global("bytes", (1, 1), Gives::Unknown),
    global("duration", (1, 1), Gives::Unknown),
    global("timestamp", (1, 1), Gives::Unknown),
    global("matches", (2, 2), Gives::Bool),
    global("optional.none", (0, 0), Gives::Unknown),
    global("optional.of", (1, 1), Gives::Unknown),
    global("optional.ofNonZeroValue", (1, 1), Gives::Unknown),
    global("math.ceil", (1, 1), Gives::Float),
    global("math.floor", (1, 1), Gives::Float),
    global("math.round", (1, 1), Gives::Float),
    global("math.trunc", (1, 1), Gives::Float),
    global("math.isInf", (1, 1), Gives::Bool),
    global("math.isNaN", (1, 1), Gives::Bool),
    global("math.isFinite", (1, 1), Gives::Bool),
    global("math.abs", (1, 1), Gives::Unknown),
    global("math.sign", (1, 1), Gives::Unknown),
    global("math.sqrt", (1, 1), Gives::Float),
    global("math.bitAnd", (2, 2), Gives::Unknown),
    global("math.bitOr", (2, 2), Gives::Unknown),
    global("math.bitXor", (2, 2), Gives::Unknown),
    global("math.bitNot", (1, 1), Gives::Unknown),
    global("math.bitShiftLeft", (2, 2), Gives::Unknown),
    global("math.bitShiftRight", (2, 2), Gives::Unknown),
    global("strings.quote", (1, 1), Gives::Text),
    global("lists.range", (1, 1), Gives::Ints),
    global("base64.encode", (1, 1), Gives::Text),
    global("base64.decode", (1, 1), Gives::Unknown),
    member("size", On::Sized, (0, 0), Gives::Int),
    member("contains", On::Text, (1, 1), Gives::Bool),
    member("startsWith", On::Text, (1, 1), Gives::Bool),
    member("endsWith", On::Text, (1, 1), Gives::Bool),
    member("matches", On::Text, (1, 1), Gives::Bool),
    member("charAt", On::Text, (1, 1), Gives::Text),
    member("indexOf", On::Text, (1, 2), Gives::Int),
    member("lastIndexOf", On::Text, (1, 2), Gives::Int),
    member("lowerAscii", On::Text, (0, 0), Gives::Text),
    member("upperAscii", On::Text, (0, 0), Gives::Text),
    member("replace", On::Text, (2, 3), Gives::Text),
    member("split", On::Text, (1, 2), Gives::Texts),
    member("substring", On::Text, (1, 2), Gives::Text),
    member("trim", On::Text, (0, 0), Gives::Text),
    member("format", On::Text, (1, 1), Gives::Text),
    member("join", On::List, (0, 1), Gives::Text),
    member("reverse", On::TextOrList, (0, 0), Gives::Receiver),
    member("slice", On::List, (2, 2), Gives::Receiver),
    member("flatten", On::List, (0, 1), Gives::Unknown),
    member("distinct", On::List, (0, 0), Gives::Receiver),
    member("sort", On::List, (0, 0), Gives::Receiver),
    member("value", On::Other, (0, 0), Gives::Unknown),
    member("hasValue", On::Other, (0, 0), Gives::Bool),
    member("or", On::Other, (1, 1), Gives::Unknown),
    member("orValue", On::Other, (1, 1), Gives::Unknown),
    member("getFullYear", On::Other, (0, 1), Gives::Int),
    member("getMonth", On::Other, (0, 1), Gives::Int),
    member("getDayOfYear", On::Other, (0, 1), Gives::Int),
    member("getDayOfMonth", On::Other, (0, 1), Gives::Int),
    member("getDate", On::Other, (0, 1), Gives::Int),
    member("getDayOfWeek", On::Other, (0, 1), Gives::Int),
    member("getHours", On::Other, (0, 1), Gives::Int),
    member("getMinutes", On::Other, (0, 1), Gives::Int),
    member("getSeconds", On::Other, (0, 1), Gives::Int),
    member("getMilliseconds", On::Other, (0, 1), Gives::Int),
];

/// Macros, for suggestions, each with how it is written.
pub(in crate::lang) const MACROS: &[(&str, &str)] = &[
    ("has", "has(a.b)"),
    ("map", "list.map(x, expression)"),
    ("filter", "list.filter(x, condition)"),
    ("all", "list.all(x, condition)"),
    ("exists", "list.exists(x, condition)"),
    ("exists_one", "list.exists_one(x, condition)"),
    ("existsOne", "list.existsOne(x, condition)"),
    ("sortBy", "list.sortBy(x, expression)"),
    ("optMap", "optional.optMap(x, expression)"),
    ("optFlatMap", "optional.optFlatMap(x, expression)"),
    ("math.greatest", "math.greatest(a, b)"),
    ("math.least", "math.least(a, b)"),
];

/// The namespaces of functions: these names before a dot are no roots.
pub(in crate::lang) const NAMESPACES: [&str; 5] = ["optional", "math", "strings", "lists", "base64"];

/// Names of types that `type(x) == …` may use.
pub(in crate::lang) const TYPE_NAMES: [&str; 11] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint", "optional_type"];

/// The functions of that name and style; `member` tells `x.name()` from `name(x)`.
pub(in crate::lang) fn named(name: &str, member: bool) -> impl Iterator<Item = &'static Signature> {
    ALL.iter().filter(move |signature| signature.name == name && (signature.style != Style::Global) == member)
}
