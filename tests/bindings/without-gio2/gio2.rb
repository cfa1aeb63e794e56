# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Shadows the gem, as if it were not installed.
raise LoadError, "gio2 is hidden, for a test"
