//! Hashes over values: the same value gives the same hash on every machine and in every build.

use std::fmt;

use serde::ser::{self, Serialize};
use xxhash_rust::xxh64::{Xxh64, xxh64};

/// Hashes a value's JSON with xxh64 under a seed, without building the JSON.
///
/// The same value gives the same digest on every machine and in every build.
#[must_use]
pub fn digest_of<T: Serialize + ?Sized>(seed: u64, value: &T) -> u64 {
    let mut hashing = Hashing {
        hash: Xxh64::new(seed),
        buffer: [0; 256],
        filled: 0,
    };
    // The writer cannot fail; a value that JSON cannot hold hashes as far as it goes.
    let written = serde_json::to_writer(&mut hashing, value).is_ok();
    hashing.empty();
    hashing.hash.digest() ^ u64::from(!written)
}

/// A writer that hashes. JSON comes in pieces of a few bytes, which cost more than their hash: they
/// are gathered first.
struct Hashing {
    hash: Xxh64,
    buffer: [u8; 256],
    filled: usize,
}

impl Hashing {
    #[inline]
    fn take(&mut self, bytes: &[u8]) {
        // Half of the pieces are one quote, colon or comma.
        if let ([byte], Some(free)) = (bytes, self.buffer.get_mut(self.filled)) {
            *free = *byte;
            self.filled += 1;
            return;
        }
        if self.buffer.len() - self.filled < bytes.len() {
            self.empty();
        }
        let end = self.filled + bytes.len();
        match self.buffer.get_mut(self.filled..end) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.filled = end;
            }
            None => self.hash.update(bytes),
        }
    }

    fn empty(&mut self) {
        let (filled, _) = self.buffer.split_at(self.filled);
        self.hash.update(filled);
        self.filled = 0;
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.take(bytes);
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Mixes a word into a hash: the finaliser of SplitMix64.
#[must_use]
pub fn mix(hash: u64, word: u64) -> u64 {
    let mut mixed = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Hashes what a value says of itself to serde, word by word, without writing it down.
pub(crate) fn packed_digest_of<T: Serialize + ?Sized>(seed: u64, value: &T) -> u64 {
    let mut packed = Packed(seed);
    // Nothing here fails; a value that refuses to be serialised hashes as far as it goes.
    let whole = value.serialize(&mut packed).is_ok();
    packed.0 ^ u64::from(!whole)
}

/// A longer text is hashed at once: from here on xxh64 takes less time than word by word.
const MIXED_BYTES: usize = 32;

/// The hash so far.
///
/// Each value adds words: a number itself, a text [`TEXT`] with its length and its bytes by eight in
/// little-endian order, a list or an object [`PARTS`] with the count of its parts where it is known and
/// [`END`] after them. Names of fields and variants are texts. [`NOTHING`] stands for what is not there
/// and [`SOMETHING`] before what might not be.
struct Packed(u64);

// Digits of pi, so that they are no numbers that a value holds.
const TEXT: u64 = 0x243F_6A88_85A3_08D3;
const PARTS: u64 = 0x1319_8A2E_0370_7344;
const END: u64 = 0xA409_3822_299F_31D0;
const NOTHING: u64 = 0x082E_FA98_EC4E_6C89;
const SOMETHING: u64 = 0x4528_21E6_38D0_1377;

impl Packed {
    #[inline]
    fn word(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(TEXT ^ bytes.len() as u64);
        if bytes.len() > MIXED_BYTES {
            self.0 = xxh64(bytes, self.0);
            return;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let last = rest.iter().rev();
            self.word(last.fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    #[inline]
    fn parts(&mut self, count: Option<usize>) {
        self.word(PARTS ^ count.map_or(u64::MAX, |count| count as u64));
    }
}

type Hashed = Result<(), fmt::Error>;

/// The methods for numbers: each is a word.
macro_rules! words {
    ($($method:ident $type:ty => $word:expr;)*) => {
        $(fn $method(self, value: $type) -> Hashed {
            let word: fn($type) -> u64 = $word;
            self.word(word(value));
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut Packed {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    words! {
        serialize_bool bool => u64::from;
        serialize_i8 i8 => |value| i64::from(value).cast_unsigned();
        serialize_i16 i16 => |value| i64::from(value).cast_unsigned();
        serialize_i32 i32 => |value| i64::from(value).cast_unsigned();
        serialize_i64 i64 => i64::cast_unsigned;
        serialize_u8 u8 => u64::from;
        serialize_u16 u16 => u64::from;
        serialize_u32 u32 => u64::from;
        serialize_u64 u64 => |value| value;
        serialize_f32 f32 => |value| f64::from(value).to_bits();
        serialize_f64 f64 => f64::to_bits;
        serialize_char char => |value| u64::from(u32::from(value));
    }

    fn serialize_str(self, text: &str) -> Hashed {
        self.bytes(text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Hashed {
        self.bytes(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Hashed {
        self.word(NOTHING);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Hashed {
        self.word(SOMETHING);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Hashed {
        self.word(NOTHING);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Hashed {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Hashed {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Hashed {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Hashed {
        self.bytes(variant.as_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, fmt::Error> {
        self.parts(len);
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, fmt::Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self, fmt::Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, fmt::Error> {
        self.bytes(variant.as_bytes());
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, fmt::Error> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self, fmt::Error> {
        self.serialize_seq(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, fmt::Error> {
        self.bytes(variant.as_bytes());
        self.serialize_seq(Some(len))
    }
}

/// The parts of a list: each adds itself.
macro_rules! parts {
    ($($trait:ident::$method:ident;)*) => {
        $(impl ser::$trait for &mut Packed {
            type Ok = ();
            type Error = fmt::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Hashed {
                value.serialize(&mut **self)
            }

            fn end(self) -> Hashed {
                self.word(END);
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// The fields of an object: each adds its name and itself.
macro_rules! fields {
    ($($trait:ident;)*) => {
        $(impl ser::$trait for &mut Packed {
            type Ok = ();
            type Error = fmt::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Hashed {
                self.bytes(name.as_bytes());
                value.serialize(&mut **self)
            }

            fn end(self) -> Hashed {
                self.word(END);
                Ok(())
            }
        })*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for &mut Packed {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Hashed {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Hashed {
        value.serialize(&mut **self)
    }

    fn end(self) -> Hashed {
        self.word(END);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    struct Sample<'a> {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        number: Option<f64>,
        choice: Choice,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Unit,
        New(u32),
        Pair(i8, char),
        Named { flag: bool },
    }

    fn sample(text: &str) -> Sample<'_> {
        Sample {
            text,
            left_out: None,
            number: Some(0.5),
            choice: Choice::Named { flag: true },
        }
    }

    #[test]
    fn the_digest_is_xxh64_of_the_json_however_long_its_pieces_are() {
        for length in [0, 1, 200, 251, 252, 253, 254, 255, 256, 257, 300, 1_000] {
            let value = ("x".repeat(length), "y".repeat(length / 2), length);
            let whole = xxh64(&serde_json::to_vec(&value).unwrap(), 7);
            assert_eq!(digest_of(7, &value), whole, "{length}");
        }
    }

    #[test]
    fn a_packed_digest_never_changes_from_one_build_to_the_next() {
        let long = "long ".repeat(20);
        let digests = [
            packed_digest_of(0, &()),
            packed_digest_of(7, "eight by"),
            packed_digest_of(7, "eight by eight"),
            packed_digest_of(7, &long),
            packed_digest_of(1, &sample("text")),
            packed_digest_of(1, &BTreeMap::from([("key", [1, 2, 3])])),
        ];
        let expected = [
            0xa1b2_2f12_668b_ef13,
            0xfd02_9587_442c_31a0,
            0xbdfb_bca0_fc6e_e115,
            0x915a_2712_365d_c499,
            0x3ee1_5aa2_984d_dde3,
            0x3f9f_a993_f2d7_db55,
        ];
        assert_eq!(digests, expected, "{digests:#x?}");
    }

    #[test]
    fn values_that_differ_anywhere_have_digests_that_differ() {
        let long = "x".repeat(100);
        let mut other = long.clone();
        other.replace_range(99..100, "y");
        let mut digests: Vec<u64> = ["", "a", "a\0", "ab", "ba", "eight by", "eight by\0", "\0\0"]
            .into_iter()
            .chain([long.as_str(), other.as_str(), &long[1..]])
            .flat_map(|text| {
                let mut with = sample(text);
                with.left_out = Some(0);
                let mut without = sample(text);
                without.number = None;
                [
                    packed_digest_of(0, text),
                    packed_digest_of(1, text),
                    packed_digest_of(0, &[text]),
                    packed_digest_of(0, &[text, ""]),
                    packed_digest_of(0, &Some(text)),
                    packed_digest_of(0, &sample(text)),
                    packed_digest_of(0, &with),
                    packed_digest_of(0, &without),
                ]
            })
            .collect();
        let choices = [
            Choice::Unit,
            Choice::New(1),
            Choice::New(2),
            Choice::Pair(1, 'a'),
            Choice::Pair(-1, 'a'),
            Choice::Named { flag: true },
            Choice::Named { flag: false },
        ];
        digests.extend(choices.iter().map(|it| packed_digest_of(0, it)));
        let lists: [&[u8]; 5] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1]];
        digests.extend(lists.iter().map(|it| packed_digest_of(0, it)));
        let nested = [vec![vec![1_u8], vec![2, 3]], vec![vec![1, 2], vec![3]]];
        digests.extend(nested.iter().map(|it| packed_digest_of(0, it)));
        let apart: BTreeSet<u64> = digests.iter().copied().collect();
        assert_eq!(apart.len(), digests.len());
    }
}
