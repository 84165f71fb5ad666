//! Little-endian encoding of our own bytes: commands and checkpoint records.
//!
//! Shape: integers of fixed width; byte strings and lists behind a u32 length. Decoding never panics
//! and never allocates more than the input is long.

use bytes::{BufMut, Bytes, BytesMut};

/// Why bytes could not be decoded: what was expected where they ended or were wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError(pub &'static str);

/// Appends fields to a buffer.
pub struct Encoder<'a>(pub &'a mut BytesMut);

impl Encoder<'_> {
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.put_u8(value);
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.put_u32_le(value);
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.0.put_i32_le(value);
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.put_u64_le(value);
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.0.put_i64_le(value);
        self
    }

    /// Length of a list or byte string that follows.
    pub fn list_len(&mut self, value: usize) -> &mut Self {
        self.u32(u32::try_from(value).expect("requests are far below 4 GiB"))
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.list_len(value.len());
        self.0.put_slice(value);
        self
    }

    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub fn strs(&mut self, values: &[String]) -> &mut Self {
        self.list_len(values.len());
        for value in values {
            self.str(value);
        }
        self
    }
}

/// Takes fields off the front of a byte string.
pub struct Decoder(pub Bytes);

impl Decoder {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        if self.0.len() < N {
            return Err(DecodeError("bytes end inside a field"));
        }
        let mut field = [0; N];
        field.copy_from_slice(&self.0.split_to(N));
        Ok(field)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take::<1>()?[0])
    }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError("a flag is neither 0 nor 1")),
        }
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.take().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.take().map(i64::from_le_bytes)
    }

    /// Length of a list whose items take at least one byte each.
    pub fn list_len(&mut self) -> Result<usize, DecodeError> {
        let len = self.u32()? as usize;
        if len > self.0.len() {
            return Err(DecodeError("a length is beyond the end of the bytes"));
        }
        Ok(len)
    }

    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.list_len()?;
        Ok(self.0.split_to(len))
    }

    pub fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError("a text is not UTF-8"))
    }

    pub fn strings(&mut self) -> Result<Vec<String>, DecodeError> {
        let len = self.list_len()?;
        (0..len).map(|_| self.string()).collect()
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError("bytes are left over")) }
    }
}
