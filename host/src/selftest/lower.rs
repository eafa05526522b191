//! Writes an answer into a guest's memory as the canonical ABI has it, so that a guest of the pack is a few bytes of data and no program.
//!
//! Values are JSON in the shape of the contract's types: a record is an object, a variant without a payload its name, one with a payload
//! `{"name": payload}`, an option `null` or its value, a list of bytes may be a text. A text that begins with `$` stands for a value of the
//! guest's arguments, such as `$event.number` or `$request.wallet`, and is copied from there when the guest is called.

use anyhow::{Context as _, bail};
use serde_json::Value;
use wit_parser::{Function, Resolve, SizeAlign, Type, TypeDefKind};

/// The contract's types, with how large each is in memory.
pub(super) struct Types {
    pub(super) resolve: Resolve,
    sizes: SizeAlign,
}

/// What a guest copies from its arguments into its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    /// Where it is in the arguments, in bytes.
    pub(super) from: usize,
    /// Where it goes, as an address.
    pub(super) to: usize,
    /// How many bytes.
    pub(super) bytes: usize,
}

/// The memory of a guest before it is called.
pub(super) struct Memory {
    base: usize,
    pub(super) bytes: Vec<u8>,
}

impl Memory {
    /// Nothing yet, from this address on.
    pub(super) fn from(base: usize) -> Memory {
        Memory { base, bytes: Vec::new() }
    }

    /// The first address behind it.
    pub(super) fn end(&self) -> usize {
        self.base + self.bytes.len()
    }

    /// Room for so many bytes; answers its address.
    fn room(&mut self, bytes: usize, align: usize) -> usize {
        let at = self.end().next_multiple_of(align.max(1));
        self.bytes.resize(at + bytes - self.base, 0);
        at
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let at = at - self.base;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn write_u32(&mut self, at: usize, number: usize) -> anyhow::Result<()> {
        self.write(at, &u32::try_from(number)?.to_le_bytes());
        Ok(())
    }
}

impl Types {
    /// The types of everything in a resolved contract.
    pub(super) fn of(resolve: Resolve) -> anyhow::Result<Types> {
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve)?;
        Ok(Types { resolve, sizes })
    }

    fn size(&self, of: &Type) -> usize {
        self.sizes.size(of).size_wasm32()
    }

    fn align(&self, of: &Type) -> usize {
        self.sizes.align(of).align_wasm32()
    }

    fn offsets<'a>(&self, types: impl IntoIterator<Item = &'a Type>) -> Vec<(usize, Type)> {
        let offsets = self.sizes.field_offsets(types);
        offsets.into_iter().map(|(offset, of)| (offset.size_wasm32(), *of)).collect()
    }

    /// Writes the answer of a function; answers its address and what is to be copied into it. Errors: the value does not fit the type.
    pub(super) fn answer(
        &self,
        memory: &mut Memory,
        function: &Function,
        value: &Value,
    ) -> anyhow::Result<(usize, Vec<Copied>)> {
        let of = function.result.context("the function answers nothing")?;
        let at = memory.room(self.size(&of), self.align(&of));
        let mut copied = Vec::new();
        self.write(&mut Target { memory, function, copied: &mut copied }, at, &of, value)
            .with_context(|| format!("the answer of `{}`: {value}", function.name))?;
        Ok((at, copied))
    }

    /// Where a value of a function's arguments is, by its path, and its type.
    pub(super) fn place(&self, function: &Function, path: &str) -> anyhow::Result<(usize, Type)> {
        let mut words = path.split('.');
        let first = words.next().unwrap_or_default();
        let of_params = self.offsets(function.params.iter().map(|param| &param.ty));
        let params = function.params.iter().zip(of_params);
        let found = params.into_iter().find(|(param, _)| param.name == first);
        let (_, (mut at, mut of)) = found.with_context(|| format!("there is no argument `{first}`"))?;
        for word in words {
            let (offset, inner) = self.part(&of, word)?;
            (at, of) = (at + offset, inner);
        }
        Ok((at, of))
    }

    /// A field of a record, the payload of a variant's case, or what an option holds.
    fn part(&self, of: &Type, word: &str) -> anyhow::Result<(usize, Type)> {
        let missing = || format!("there is no `{word}`");
        match self.kind(of) {
            Some(TypeDefKind::Record(record)) => {
                let place = record.fields.iter().position(|field| field.name == word).with_context(missing)?;
                Ok(self.offsets(record.fields.iter().map(|field| &field.ty))[place])
            }
            Some(TypeDefKind::Variant(variant)) => {
                let case = variant.cases.iter().find(|case| case.name == word).with_context(missing)?;
                let cases = variant.cases.iter().map(|case| case.ty.as_ref());
                let offset = self.sizes.payload_offset(variant.tag(), cases).size_wasm32();
                Ok((offset, case.ty.with_context(missing)?))
            }
            _ => bail!("nothing is inside of `{word}`"),
        }
    }

    /// The number of a variant's case.
    pub(super) fn case(&self, of: &Type, name: &str) -> anyhow::Result<usize> {
        let Some(TypeDefKind::Variant(variant)) = self.kind(of) else { bail!("no variant has the case `{name}`") };
        variant.cases.iter().position(|case| case.name == name).with_context(|| format!("there is no case `{name}`"))
    }

    /// What a type is another name of; itself if it is none.
    fn meant(&self, of: &Type) -> Type {
        match of {
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(other) => self.meant(other),
                _ => *of,
            },
            _ => *of,
        }
    }

    fn kind(&self, of: &Type) -> Option<&TypeDefKind> {
        match self.meant(of) {
            Type::Id(id) => Some(&self.resolve.types[id].kind),
            _ => None,
        }
    }

    fn write(&self, into: &mut Target<'_>, at: usize, of: &Type, value: &Value) -> anyhow::Result<()> {
        if let Some(path) = value.as_str().and_then(|text| text.strip_prefix('$')) {
            let (from, found) = self.place(into.function, path)?;
            if self.size(&found) != self.size(of) {
                bail!("`${path}` is of another type");
            }
            into.copied.push(Copied { from, to: at, bytes: self.size(of) });
            return Ok(());
        }
        let unfit = || format!("{value} does not fit");
        let number = || value.as_i64().with_context(unfit);
        match &self.meant(of) {
            Type::Bool => into.memory.write(at, &[u8::from(value.as_bool().with_context(unfit)?)]),
            Type::U8 => into.memory.write(at, &[u8::try_from(number()?)?]),
            Type::U16 => into.memory.write(at, &u16::try_from(number()?)?.to_le_bytes()),
            Type::U32 => into.memory.write(at, &u32::try_from(number()?)?.to_le_bytes()),
            Type::U64 => into.memory.write(at, &value.as_u64().with_context(unfit)?.to_le_bytes()),
            Type::S64 => into.memory.write(at, &number()?.to_le_bytes()),
            Type::String => self.bytes(into, at, value.as_str().with_context(unfit)?.as_bytes())?,
            defined @ Type::Id(_) => self.write_defined(into, at, defined, value)?,
            other => bail!("the contract has no {other:?}"),
        }
        Ok(())
    }

    fn bytes(&self, into: &mut Target<'_>, at: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let place = into.memory.room(bytes.len(), 1);
        into.memory.write(place, bytes);
        into.memory.write_u32(at, place)?;
        into.memory.write_u32(at + 4, bytes.len())
    }

    fn write_defined(&self, into: &mut Target<'_>, at: usize, of: &Type, value: &Value) -> anyhow::Result<()> {
        let unfit = || format!("{value} does not fit");
        match self.kind(of).with_context(unfit)? {
            TypeDefKind::Record(record) => {
                let fields = value.as_object().with_context(unfit)?;
                let names = || record.fields.iter().map(|field| field.name.as_str());
                if let Some(unknown) = fields.keys().find(|name| !names().any(|known| known == name.as_str())) {
                    bail!("there is no field `{unknown}`");
                }
                let offsets = self.offsets(record.fields.iter().map(|field| &field.ty));
                for (name, (offset, of)) in names().zip(offsets) {
                    let value = fields.get(name).with_context(|| format!("`{name}` is missing"))?;
                    self.write(into, at + offset, &of, value)?;
                }
            }
            TypeDefKind::Tuple(tuple) => {
                let values = value.as_array().filter(|values| values.len() == tuple.types.len()).with_context(unfit)?;
                for (value, (offset, of)) in values.iter().zip(self.offsets(&tuple.types)) {
                    self.write(into, at + offset, &of, value)?;
                }
            }
            TypeDefKind::Enum(cases) => {
                let place = cases.cases.iter().position(|case| Some(case.name.as_str()) == value.as_str());
                into.memory.write(at, &[u8::try_from(place.with_context(unfit)?)?]);
            }
            TypeDefKind::Variant(variant) => {
                let (name, payload) = named(value).with_context(unfit)?;
                let place = variant.cases.iter().position(|case| case.name == name).with_context(unfit)?;
                let cases = variant.cases.iter().map(|case| case.ty.as_ref());
                let offset = self.sizes.payload_offset(variant.tag(), cases).size_wasm32();
                into.memory.write(at, &[u8::try_from(place)?]);
                if let Some(of) = &variant.cases[place].ty {
                    self.write(into, at + offset, of, payload.with_context(unfit)?)?;
                }
            }
            TypeDefKind::Option(of) => {
                if !value.is_null() {
                    into.memory.write(at, &[1]);
                    self.write(into, at + self.align(of).max(1), of, value)?;
                }
            }
            TypeDefKind::Result(result) => {
                let (name, payload) = named(value).with_context(unfit)?;
                let (tag, of) = match name {
                    "ok" => (0, &result.ok),
                    "err" => (1, &result.err),
                    _ => bail!(unfit()),
                };
                into.memory.write(at, &[tag]);
                let align = [&result.ok, &result.err].into_iter().flatten().map(|of| self.align(of)).max();
                if let Some(of) = of {
                    self.write(into, at + align.unwrap_or(1), of, payload.with_context(unfit)?)?;
                }
            }
            TypeDefKind::List(of) => match value {
                Value::String(text) => self.bytes(into, at, text.as_bytes())?,
                _ => {
                    let values = value.as_array().with_context(unfit)?;
                    let place = into.memory.room(self.size(of) * values.len(), self.align(of));
                    for (number, value) in values.iter().enumerate() {
                        self.write(into, place + number * self.size(of), of, value)?;
                    }
                    into.memory.write_u32(at, place)?;
                    into.memory.write_u32(at + 4, values.len())?;
                }
            },
            other => bail!("the contract's {} cannot be written", other.as_str()),
        }
        Ok(())
    }
}

/// What an answer is written into, and whose it is.
struct Target<'a> {
    memory: &'a mut Memory,
    function: &'a Function,
    copied: &'a mut Vec<Copied>,
}

/// A case's name and its payload.
fn named(value: &Value) -> Option<(&str, Option<&Value>)> {
    match value {
        Value::String(name) => Some((name, None)),
        Value::Object(one) if one.len() == 1 => one.iter().next().map(|(name, payload)| (name.as_str(), Some(payload))),
        _ => None,
    }
}
