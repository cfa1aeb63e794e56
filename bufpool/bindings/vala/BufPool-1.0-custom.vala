// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Additions to the GIR: allocation[i], and foreach over the buffers. Both return the memory itself, as an
// array that knows its length. The bodies are compiled into the program.

namespace BufPool {
	public class PoolAllocation {
		public unowned uint8[] get (size_t index) {
			unowned uint8[] buffer = (uint8[]) this.get_buffer (index);
			buffer.length = 0;
			if (buffer != null)
				buffer.length = (int) this.get_buffer_size ();
			return buffer;
		}

		// Uses an iterator, not a property called size, because only then the variable of foreach is
		// unowned like the element. Otherwise, Vala would copy each buffer.
		public PoolAllocationIter iterator () {
			return PoolAllocationIter (this);
		}
	}

	[CCode (cheader_filename = "bufpool/bufpool.h", cname = "BufPoolAllocationIter", has_type_id = false)]
	[Version (since = "1.0")]
	public struct PoolAllocationIter {
		public size_t left;
		public size_t step;

		[CCode (cname = "buf_pool_allocation_iter_init")]
		public PoolAllocationIter (PoolAllocation allocation);

		[CCode (cname = "buf_pool_allocation_iter_next")]
		public bool take (out void* start);

		[CCode (cname = "_buf_pool_allocation_iter_has_next")]
		public bool next () {
			return this.left > 0;
		}

		[CCode (cname = "_buf_pool_allocation_iter_get")]
		public unowned uint8[] get () {
			void* start;
			this.take (out start);
			unowned uint8[] buffer = (uint8[]) start;
			buffer.length = (int) this.step;
			return buffer;
		}
	}

	// foreach (var bytes in reader): the blocks of a reader. Errors are thrown.
	public class Reader : GLib.Object {
		[CCode (cname = "_buf_reader_iterator")]
		public unowned Reader iterator () {
			return this;
		}

		[CCode (cname = "_buf_reader_next_value")]
		public GLib.Bytes? next_value () throws GLib.Error {
			GLib.Bytes? block = this.next_block ();
			return block;
		}
	}
}
