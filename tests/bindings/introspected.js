// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// The information that introspection has about BufPool. There are two interfaces: that of
// GObject-Introspection, whose functions take an info, and that of GLib from 2.80 on, where an info has
// methods.
/* exported allInfos */

const {GIRepository, GObject} = imports.gi;

/* Calls a method of an info, such as get_type_info of arg_info, whose older name may differ. */
function ask(info, method, oldFunction, ...parameters) {
    if (info[method])
        return info[method](...parameters);
    return GIRepository[oldFunction](info, ...parameters);
}

function range(length, item) {
    return Array.from({length}, (_, i) => item(i));
}

function lengthIndex(type) {
    if (ask(type, 'get_tag', 'type_info_get_tag') !== GIRepository.TypeTag.ARRAY)
        return null;
    const index = ask(type, 'get_array_length_index', 'type_info_get_array_length');
    return Array.isArray(index) ? index[1] : index;
}

/* The names of the parameters in JavaScript: without return values, and without the lengths of arrays. */
function taken(callable) {
    const parameters = range(ask(callable, 'get_n_args', 'callable_info_get_n_args'),
        i => ask(callable, 'get_arg', 'callable_info_get_arg', i));
    const lengths = parameters.map(p => lengthIndex(ask(p, 'get_type_info', 'arg_info_get_type')));
    return parameters
        .filter((p, i) => ask(p, 'get_direction', 'arg_info_get_direction') === GIRepository.Direction.IN &&
            !lengths.includes(i))
        .map(p => p.get_name());
}

function describeMethod(info) {
    const flags = ask(info, 'get_flags', 'function_info_get_flags');
    return {
        name: info.get_name(),
        isMethod: (flags & GIRepository.FunctionInfoFlags.IS_METHOD) !== 0,
        parameters: taken(info),
    };
}

/* Setting a property that is construct-only is a critical warning in GLib 2.84. */
function describeProperty(info) {
    const flags = ask(info, 'get_flags', 'property_info_get_flags');
    const {WRITABLE, CONSTRUCT_ONLY} = GObject.ParamFlags;
    return {name: info.get_name(), isSettable: (flags & (WRITABLE | CONSTRUCT_ONLY)) === WRITABLE};
}

/* 'object' or 'struct', for the names of functions, or null if it is neither. */
function kindOf(info) {
    const {InfoType, ObjectInfo, StructInfo} = GIRepository;
    if (ObjectInfo)
        return info instanceof ObjectInfo ? 'object' : info instanceof StructInfo ? 'struct' : null;
    return {[InfoType.OBJECT]: 'object', [InfoType.STRUCT]: 'struct'}[info.get_type()] ?? null;
}

function describe(info) {
    const kind = kindOf(info);
    const members = (one, many, item) => range(ask(info, `get_n_${many}`, `${kind}_info_get_n_${many}`),
        i => item(ask(info, `get_${one}`, `${kind}_info_get_${one}`, i)));
    return {
        name: info.get_name(),
        methods: kind ? members('method', 'methods', describeMethod) : [],
        properties: kind === 'object' ? members('property', 'properties', describeProperty) : [],
    };
}

function allInfos() {
    const {Repository} = GIRepository;
    const repository = Repository.get_default?.() ?? Repository.dup_default();
    return range(repository.get_n_infos('BufPool'), i => describe(repository.get_info('BufPool', i)));
}
