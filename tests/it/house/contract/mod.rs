//! The contract with plugins as data: read from its WIT, for the rules about it and for its reference page.

mod frozen;
mod reference;

use std::path::Path;

use wit_parser::{Docs, FunctionKind, InterfaceId, Resolve, Type, TypeDefKind, TypeId, WorldItem};

/// A contract: its interfaces and its worlds, each in the order of their names.
pub(super) struct Contract {
    interfaces: Vec<Interface>,
    worlds: Vec<World>,
}

/// One interface.
struct Interface {
    name: String,
    docs: String,
    /// Types of other interfaces that it uses: interface and type.
    uses: Vec<(String, String)>,
    types: Vec<Named>,
    functions: Vec<Function>,
}

/// A type with a name.
struct Named {
    name: String,
    docs: String,
    shape: Shape,
}

/// What a type is made of.
#[derive(PartialEq, Eq)]
enum Shape {
    Record(Vec<Part>),
    Variant(Vec<Part>),
    Enum(Vec<Part>),
    Alias(String),
}

/// A field, a case or a parameter.
struct Part {
    name: String,
    /// Its type; none for a case without a payload.
    kind: Option<String>,
    docs: String,
}

/// Documentation is no part of what is frozen.
impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        (&self.name, &self.kind) == (&other.name, &other.kind)
    }
}

impl Eq for Part {}

/// One function.
struct Function {
    name: String,
    docs: String,
    params: Vec<Part>,
    result: Option<String>,
}

/// A world: what a component of it imports and exports.
struct World {
    name: String,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Contract {
    /// The contract in a folder. Panics with what is wrong with its WIT.
    pub(super) fn read(folder: &Path) -> Contract {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(folder).unwrap_or_else(|error| panic!("{}: {error:#}", folder.display()));
        Contract::of(&resolve, package)
    }

    fn of(resolve: &Resolve, package: wit_parser::PackageId) -> Contract {
        let package = &resolve.packages[package];
        let mut interfaces: Vec<_> = package.interfaces.values().map(|id| interface(resolve, *id)).collect();
        interfaces.sort_by(|one, other| one.name.cmp(&other.name));
        let mut worlds: Vec<_> = package.worlds.values().map(|id| world(resolve, &resolve.worlds[*id])).collect();
        worlds.sort_by(|one, other| one.name.cmp(&other.name));
        Contract { interfaces, worlds }
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// Whether a world of the contract exports the interface: then guests implement it.
    fn is_exported(&self, name: &str) -> bool {
        self.worlds.iter().any(|world| world.exports.iter().any(|export| export == name))
    }
}

fn world(resolve: &Resolve, world: &wit_parser::World) -> World {
    let name = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
        WorldItem::Function(function) => Some(function.name.clone()),
        WorldItem::Type { .. } => None,
    };
    World {
        name: world.name.clone(),
        imports: world.imports.values().filter_map(name).collect(),
        exports: world.exports.values().filter_map(name).collect(),
    }
}

fn interface(resolve: &Resolve, id: InterfaceId) -> Interface {
    let found = &resolve.interfaces[id];
    let (mut uses, mut types) = (Vec::new(), Vec::new());
    for (name, id) in &found.types {
        match used(resolve, *id) {
            Some(of) => uses.push((of, name.clone())),
            None => types.push(named(resolve, name, *id)),
        }
    }
    let functions = found.functions.values().map(|function| function_of(resolve, function)).collect();
    let name = found.name.clone().expect("an interface of a package has a name");
    Interface { name, docs: text(&found.docs), uses, types, functions }
}

/// The interface that a type comes from by `use`.
fn used(resolve: &Resolve, id: TypeId) -> Option<String> {
    let TypeDefKind::Type(Type::Id(of)) = resolve.types[id].kind else { return None };
    let owner = |id: TypeId| match resolve.types[id].owner {
        wit_parser::TypeOwner::Interface(interface) => Some(interface),
        _ => None,
    };
    let (here, there) = (owner(id)?, owner(of)?);
    if here == there { None } else { resolve.interfaces[there].name.clone() }
}

fn named(resolve: &Resolve, name: &str, id: TypeId) -> Named {
    let found = &resolve.types[id];
    let part = |name: &str, kind: Option<&Type>, docs: &Docs| Part {
        name: name.to_owned(),
        kind: kind.map(|kind| type_text(resolve, kind)),
        docs: text(docs),
    };
    let shape = match &found.kind {
        TypeDefKind::Record(record) => {
            Shape::Record(record.fields.iter().map(|field| part(&field.name, Some(&field.ty), &field.docs)).collect())
        }
        TypeDefKind::Variant(variant) => {
            Shape::Variant(variant.cases.iter().map(|case| part(&case.name, case.ty.as_ref(), &case.docs)).collect())
        }
        TypeDefKind::Enum(list) => {
            Shape::Enum(list.cases.iter().map(|case| part(&case.name, None, &case.docs)).collect())
        }
        TypeDefKind::Type(kind) => Shape::Alias(type_text(resolve, kind)),
        other => panic!("`{name}`: the contract has records, variants, enums and names for types, and no {other:?}"),
    };
    Named { name: name.to_owned(), docs: text(&found.docs), shape }
}

fn function_of(resolve: &Resolve, function: &wit_parser::Function) -> Function {
    assert_eq!(function.kind, FunctionKind::Freestanding, "`{}`: functions of guests are plain", function.name);
    let params = function.params.iter();
    Function {
        name: function.name.clone(),
        docs: text(&function.docs),
        params: params
            .map(|param| Part {
                name: param.name.clone(),
                kind: Some(type_text(resolve, &param.ty)),
                docs: String::new(),
            })
            .collect(),
        result: function.result.as_ref().map(|kind| type_text(resolve, kind)),
    }
}

/// A type as the WIT writes it.
fn type_text(resolve: &Resolve, kind: &Type) -> String {
    let of = |kind: &Type| type_text(resolve, kind);
    let Type::Id(id) = kind else {
        return format!("{kind:?}").to_lowercase();
    };
    let found = &resolve.types[*id];
    if let Some(name) = &found.name {
        return name.clone();
    }
    match &found.kind {
        TypeDefKind::Option(inner) => format!("option<{}>", of(inner)),
        TypeDefKind::List(inner) => format!("list<{}>", of(inner)),
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types.iter().map(of).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Result(result) => match (&result.ok, &result.err) {
            (Some(ok), Some(error)) => format!("result<{}, {}>", of(ok), of(error)),
            (None, Some(error)) => format!("result<_, {}>", of(error)),
            (Some(ok), None) => format!("result<{}>", of(ok)),
            (None, None) => "result".to_owned(),
        },
        other => panic!("the contract has no types such as {other:?}"),
    }
}

fn text(docs: &Docs) -> String {
    docs.contents.as_deref().unwrap_or_default().trim().to_owned()
}
