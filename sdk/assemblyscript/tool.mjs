// A transform for asc: makes a function a tool for models (docs/mcp.md). AssemblyScript has no custom sections, so this one takes
// the text of the source's line
//
//   const GASWORKS_TOOL = '{"description": "...", "inputSchema": {"type": "object", "properties": {}}}';
//
// and puts it into the module. Build with `asc FILE.ts --transform PATH/TO/sdk/assemblyscript/tool.mjs ...`.

const isEntry = (source) => source.sourceKind === 1; // SourceKind.UserEntry

// The value of `const NAME = "literal"` among a source's statements, or null.
function findText(source, name) {
  for (const statement of source.statements) {
    for (const declaration of statement.declarations || []) {
      const value = declaration.initializer?.value;
      if (declaration.name?.text === name && typeof value === 'string') return value;
    }
  }
  return null;
}

export default class Tool {
  afterParse(parser) {
    for (const source of parser.sources.filter(isEntry)) {
      const text = findText(source, 'GASWORKS_TOOL');
      if (text === null) continue;
      try { JSON.parse(text); } catch (error) { throw new Error(`GASWORKS_TOOL is no JSON: ${error.message}`); }
      this.text = text;
    }
  }

  afterCompile(module) {
    if (this.text) module.addCustomSection('gasworks.tool', new TextEncoder().encode(this.text));
  }
}
